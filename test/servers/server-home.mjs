import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, chown, mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { execute, lastLines } from './execute.mjs';
import { serverVersion } from './server-version.mjs';

const RESTARTS = 8;

const guardFile = fileURLToPath(new URL('process-guard.mjs', import.meta.url));

/**
 * Database servers refuse to run as root, so root starts them as the user with the fewest
 * rights. Any other user starts them under that user's own name.
 */
const serverUser = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};

/**
 * Starts a server in a temporary folder. `start` launches the server and returns the server's
 * `{ version, url }`. A failed start leaves nothing behind.
 */
export async function startServer(name, start) {
  const home = await ServerHome.create(name);
  try {
    const { version, url } = await start(home);
    home.unref();
    return {
      name,
      version,
      url,
      get pid() {
        return home.pid;
      },
      crash: () => home.crash(),
      /**
       * Restarts the server with the same data and port; resolves when the server answers
       * again.
       */
      async restart() {
        for (let tries = 1; ; tries++) {
          home.relaunch();
          try {
            return await home.answer(() => serverVersion(url));
          } catch (error) {
            // A restart may fail, because a crash leaves a process, shared memory or a used
            // port behind for a moment.
            if (!home.ended || tries === RESTARTS)
              throw new Error(`${error.message}\n${await home.logTail()}`, { cause: error });
            await sleep(200 * tries);
          }
        }
      },
      stop: () => home.remove(),
    };
  } catch (error) {
    const log = await home.logTail();
    await home.remove();
    throw new Error([error.message, log].filter(Boolean).join('\n'), { cause: error });
  }
}

/**
 * One server and its temporary folder. A guard process ends the server and removes the folder,
 * however the runner ends.
 */
class ServerHome {
  /** The process id of the server, or of the command that prepares the server. */
  pid;
  /** How the process of the server ended, such as `exit code 0`; undefined while it runs. */
  ended;

  static async create(name) {
    const path = await mkdtemp(join(tmpdir(), `nestjs-locked-${name}-`));
    await chmod(path, 0o755);
    if (serverUser.uid) await chown(path, serverUser.uid, serverUser.gid);
    return new ServerHome(path);
  }

  constructor(path) {
    this.path = path;
    this.guard = spawn(process.execPath, [guardFile, path], {
      detached: true,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    createInterface({ input: this.guard.stdout })
      .on('line', (news) => this.hear(JSON.parse(news)))
      .on('close', () => this.hear({ ended: 'its guard is gone' }));
  }

  hear({ pid = this.pid, ended }) {
    this.pid = pid;
    this.ended = ended;
    if (ended) this.onEnd?.();
  }

  /**
   * Starts the server. SIGKILL may end it, since its data are not needed later. A server that
   * would leave more than data behind needs another `stopSignal`.
   */
  launch(command, { env = {}, stdin = '/dev/null', stopSignal = 'SIGKILL' } = {}) {
    // Each server gets a temporary folder of its own: a starting MariaDB deletes the temporary
    // tables of its neighbours from /tmp.
    const surroundings = { ...process.env, TMPDIR: this.path, ...env };
    const order = { command, env: surroundings, stdin, user: serverUser, stopSignal };
    this.order(order);
  }

  order(order) {
    this.launched = order;
    this.ended = undefined;
    this.guard.stdin.write(`${JSON.stringify(order)}\n`);
  }

  /** Starts the server again, with the command of the last launch. */
  relaunch() {
    this.order(this.launched);
  }

  /** Ends the server at once: it can neither finish a request nor flush its data. */
  async crash() {
    const end = new Promise((resolve) => (this.onEnd = resolve));
    for (const pid of [this.pid, ...childrenOf(this.pid)]) kill(pid);
    // Keeps the runner alive until the guard reports the end of the server.
    this.guard.stdout.ref();
    await end;
    this.guard.stdout.unref();
  }

  /** Runs a command that prepares the server, and waits until the command has ended. */
  async run(command, options) {
    const end = new Promise((resolve) => (this.onEnd = resolve));
    this.launch(command, options);
    await end;
    if (this.ended !== 'exit code 0') throw new Error(`${command.join(' ')} ended with ${this.ended}`);
  }

  /**
   * Returns the folder itself, or a copy if the user that runs the server cannot reach the
   * folder, for example below a private home.
   */
  async readable(folder) {
    const reachable = !serverUser.uid || spawnSync('test', ['-x', folder], serverUser).status === 0;
    return reachable ? folder : this.copy(folder);
  }

  async copy(folder) {
    const copy = await mkdtemp(join(this.path, 'copy-'));
    await execute(['cp', '-RP', `${folder}/.`, copy]);
    await execute(['chmod', '-R', 'u+w,a+rX', copy]);
    if (serverUser.uid) await execute(['chown', '-R', `${serverUser.uid}:${serverUser.gid}`, copy]);
    return copy;
  }

  /**
   * Repeats `probe` until the server answers. Gives up when the server has ended, or after a
   * minute.
   */
  async answer(probe) {
    const deadline = Date.now() + 60_000;
    for (;;) {
      try {
        return await probe();
      } catch (error) {
        if (this.ended) throw new Error(`the server ended: ${this.ended}`, { cause: error });
        if (Date.now() > deadline)
          throw new Error(`no answer within 60 s: ${error.message}`, { cause: error });
        await sleep(50);
      }
    }
  }

  async logTail() {
    const log = await readFile(join(this.path, 'server.log'), 'utf8').catch(() => '');
    const errors = log.split('\n').filter((line) => /error|fatal/i.test(line));
    return lastLines(errors.join('\n') || log);
  }

  /** Lets a runner that has finished its tests end while its servers still run. */
  unref() {
    for (const handle of [this.guard, this.guard.stdin, this.guard.stdout]) handle.unref();
  }

  async remove() {
    if (this.guard.exitCode !== null) return;
    this.guard.ref();
    const gone = once(this.guard, 'exit');
    this.guard.stdin.end();
    await gone;
  }
}

/**
 * Returns the ids of PostgreSQL's session processes. Each of them has a process group of its
 * own, so a signal to the server's group does not reach them.
 */
function childrenOf(pid) {
  const list = `/proc/${pid}/task/${pid}/children`;
  // Only Linux lists the children of a process. On other systems, the children notice the end
  // of their parent and exit.
  if (!existsSync(list)) return [];
  return readFileSync(list, 'utf8').split(' ').filter(Boolean).map(Number);
}

function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    // The process has ended already, since children exit when they notice the end of their
    // parent.
    if (error.code !== 'ESRCH') throw error;
  }
}
