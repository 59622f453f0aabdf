import { fork } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { now } from './terms.mjs';

const program = fileURLToPath(new URL('worker.mjs', import.meta.url));
const TRY_AGAIN = 75;
const PAUSE = 300;
/**
 * Milliseconds to wait until a worker has left connections dirty. This is enough for a slow
 * link; a frozen or killed process never answers.
 */
const DIRTY_PATIENCE = 3_000;

/**
 * One worker, which can be started again after a kill. Emits `between` when the worker is
 * between check and write, and `died` when the process has ended without being killed.
 */
export class WorkerProcess extends EventEmitter {
  /**
   * The state of the process: `starting`, `running`, `frozen`, `dead`, `stopping` or
   * `stopped`.
   */
  state = 'dead';
  /** The name of the worker in the history, which is new for each start. */
  id;
  #incarnations = 0;
  #child;
  #output = '';

  constructor({ name, folder, settings, history }) {
    super();
    Object.assign(this, { name, folder, settings, history });
  }

  /**
   * Starts the process, again and again while the database cannot be reached. Resolves when
   * the worker works.
   */
  async start() {
    for (;;) {
      this.#launch();
      const outcome = await Promise.race([
        once(this.#child, 'message').then(() => 'ready'),
        once(this.#child, 'exit').then(([code, signal]) => signal ?? code),
      ]);
      if (this.state === 'stopping' || this.state === 'stopped') return;
      if (outcome === 'ready') {
        if (this.state === 'starting') this.state = 'running';
        return;
      }
      // The process has ended for another reason, and `died` was emitted.
      if (outcome !== TRY_AGAIN) return;
      await sleep(PAUSE);
    }
  }

  kill() {
    this.state = 'dead';
    const at = now();
    this.#child.kill('SIGKILL');
    return at;
  }

  /** Stops the process from outside with SIGSTOP, whatever it is doing. */
  freeze() {
    this.state = 'frozen';
    this.#child.kill('SIGSTOP');
  }

  thaw() {
    this.#child.kill('SIGCONT');
    if (this.state === 'frozen') this.state = 'running';
  }

  /**
   * Lets the process stop itself between two turns of its event loop. Resolves when the
   * process goes on.
   */
  async freezeItself(duration) {
    const child = this.#child;
    const thawed = new AbortController();
    const hear = ({ event }) => event === 'thawed' && thawed.abort();
    child.on('message', hear);
    this.state = 'frozen';
    child.send({ order: 'freeze' });
    await sleep(duration);
    // SIGCONT is repeated, since a process that has not stopped yet would ignore a single one
    // and stop afterwards.
    while (!thawed.signal.aborted && !hasEnded(child)) {
      child.kill('SIGCONT');
      await sleep(20);
    }
    child.off('message', hear);
    if (this.state === 'frozen' && child === this.#child) this.state = 'running';
  }

  /**
   * Resolves to whether the worker can still take a lock, or to `undefined` without an answer
   * in time.
   */
  async probe(patience) {
    return this.#ask('probe', 'probed', patience);
  }

  /**
   * Lets the worker leave connections of its pool in open transactions. Resolves to the number
   * of these connections, or to 0 without an answer in time.
   */
  async leaveDirty() {
    return (await this.#ask('leave dirty', 'left dirty', DIRTY_PATIENCE))?.left ?? 0;
  }

  async #ask(order, answer, patience) {
    if (!this.#child.connected) {
      const { exitCode, signalCode } = this.#child;
      return {
        error: `its process has ended (${signalCode ?? `exit code ${exitCode}`}), and it is ${this.state}`,
      };
    }
    this.#child.send({ order });
    const signal = AbortSignal.timeout(patience);
    try {
      for (;;) {
        const [message] = await once(this.#child, 'message', { signal });
        if (message.event === answer) return message;
      }
    } catch (error) {
      if (error.name !== 'AbortError') throw error;
      return undefined;
    }
  }

  /**
   * Sends SIGTERM, and SIGKILL after `patience` milliseconds. Resolves to whether SIGTERM was
   * enough.
   */
  async stop(patience) {
    if (this.state !== 'running') return true;
    this.state = 'stopping';
    const child = this.#child;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), patience);
    const [code] = await ended;
    clearTimeout(late);
    this.state = 'stopped';
    return code === 0;
  }

  /** Kills the process, whatever it is doing. */
  destroy() {
    this.state = 'stopped';
    if (this.#child && !hasEnded(this.#child)) this.#child.kill('SIGKILL');
  }

  #launch() {
    this.state = 'starting';
    this.id = `${this.name}.${++this.#incarnations}`;
    const { id } = this;
    const recordFile = join(this.folder, `${id}.jsonl`);
    this.history.follow(id, recordFile);
    const settings = JSON.stringify({ ...this.settings, name: this.name, id, recordFile });
    const child = fork(program, [settings], { execArgv: [], stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    this.#child = child;
    this.#output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => (this.#output = (this.#output + text).slice(-4_000)));
    // Sending a message to a process that was just killed is an error, which is ignored.
    child.on('error', () => {});
    child.on('message', (message) => message.event === 'between' && this.emit('between', this));
    child.once('exit', (code, signal) => {
      this.history.read();
      this.history.ended(id, now());
      if (['dead', 'stopping', 'stopped'].includes(this.state) || child !== this.#child || code === TRY_AGAIN)
        return;
      this.state = 'dead';
      this.emit('died', `${id} ended with ${signal ?? `exit code ${code}`}. ${this.#output}`);
    });
  }
}

function hasEnded(child) {
  return child.exitCode !== null || child.signalCode !== null;
}
