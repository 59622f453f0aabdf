// The statements of MariaDB run on MySQL too.
export { openFloor } from './mariadb.mjs';
