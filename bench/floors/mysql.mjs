// The floor of MySQL uses the same statements as that of MariaDB.
export { openFloor } from './mariadb.mjs';
