import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The path of a program that this machine has, if any: servers are often kept where only root looks. */
export function installed(program) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.map((folder) => join(folder, program)).find((path) => existsSync(path));
}
