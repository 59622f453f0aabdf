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

/** Database servers refuse to run as root, so that root starts them as "nobody"; anyone else as themselves. */
const serverUser = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};

/** Starts a server in a temporary folder: `start` gives its `{ version, url }`. Nothing stays behind when it fails. */
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
      /** On the same data and port; resolves when it answers again. */
      async restart() {
        for (let tries = 1; ; tries++) {
          home.relaunch();
          try {
            return await home.answer(() => serverVersion(url));
          } catch (error) {
            // Of a crash something may be left for a moment: a process, its shared memory, its port.
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

/** The temporary folder in which one server lives, and the guard that removes both whatever happens to the runner. */
class ServerHome {
  /** Of the server, or of the command that prepares it. */
  pid;
  /** How it ended; undefined while it runs. */
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

  /** Starts the server. SIGKILL is a fine end for data that is thrown away, unless something outlives the process. */
  launch(command, { env = {}, stdin = '/dev/null', stopSignal = 'SIGKILL' } = {}) {
    // A temporary folder of its own too: a MariaDB that starts removes the temporary tables of its neighbours from /tmp.
    const surroundings = { ...process.env, TMPDIR: this.path, ...env };
    const order = { command, env: surroundings, stdin, user: serverUser, stopSignal };
    this.order(order);
  }

  order(order) {
    this.launched = order;
    this.ended = undefined;
    this.guard.stdin.write(`${JSON.stringify(order)}\n`);
  }

  /** Launches again what was launched last. */
  relaunch() {
    this.order(this.launched);
  }

  /** Ends the server without a goodbye: it cannot finish, flush or tell anything. */
  async crash() {
    const end = new Promise((resolve) => (this.onEnd = resolve));
    for (const pid of [this.pid, ...childrenOf(this.pid)]) kill(pid);
    this.guard.stdout.ref(); // its news is awaited
    await end;
    this.guard.stdout.unref();
  }

  /** Runs a command that prepares the server, to its end. */
  async run(command, options) {
    const end = new Promise((resolve) => (this.onEnd = resolve));
    this.launch(command, options);
    await end;
    if (this.ended !== 'exit code 0') throw new Error(`${command.join(' ')} ended with ${this.ended}`);
  }

  /** The folder itself, or a copy when the server's user cannot get there (say, a clone below a private home). */
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

  /** Repeats `probe` until the server answers; gives up when the server ended, or after a minute. */
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

  /** A runner that has finished is not kept alive by its servers. */
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

/** PostgreSQL has a process for each session, in a group of its own. */
function childrenOf(pid) {
  const list = `/proc/${pid}/task/${pid}/children`;
  if (!existsSync(list)) return []; // not Linux: they end by themselves when their parent is gone
  return readFileSync(list, 'utf8').split(' ').filter(Boolean).map(Number);
}

function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error; // it ended by itself, as children do whose parent is gone
  }
}
