import { openMongodb } from './systems/mongodb.mjs';
import { openSqlServer } from './systems/sql-server.mjs';
import { openSqlite } from './systems/sqlite.mjs';

/** The databases that can be tortured. Each function opens a server or a file of its own. */
export const SYSTEMS = {
  postgres: () => openSqlServer('postgres'),
  mariadb: () => openSqlServer('mariadb'),
  mysql: () => openSqlServer('mysql'),
  sqlite: openSqlite,
  mongodb: openMongodb,
};
