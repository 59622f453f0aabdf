import { fork } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { now } from './terms.mjs';

const program = fileURLToPath(new URL('worker.mjs', import.meta.url));
const TRY_AGAIN = 75;
const PAUSE = 300;
/** Long enough for a slow link; a frozen or killed process never answers. */
const DIRTY_PATIENCE = 3_000;

/**
 * One worker, which starts again after it was killed. Emits `between` when it is between check
 * and write, and `died` when it ended by itself.
 */
export class WorkerProcess extends EventEmitter {
  /** `starting`, `running`, `frozen`, `dead`, `stopping` or `stopped`. */
  state = 'dead';
  /** The name of this start of the worker in the history. */
  id;
  #incarnations = 0;
  #child;
  #output = '';

  constructor({ name, folder, settings, history }) {
    super();
    Object.assign(this, { name, folder, settings, history });
  }

  /** Resolves when the worker works. Starts it again while the database cannot be reached. */
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
      if (outcome !== TRY_AGAIN) return; // `died` was emitted
      await sleep(PAUSE);
    }
  }

  kill() {
    this.state = 'dead';
    const at = now();
    this.#child.kill('SIGKILL');
    return at;
  }

  /** Stops the process from outside, wherever it is. */
  freeze() {
    this.state = 'frozen';
    this.#child.kill('SIGSTOP');
  }

  thaw() {
    this.#child.kill('SIGCONT');
    if (this.state === 'frozen') this.state = 'running';
  }

  /**
   * Stops the process from inside, between two turns of its event loop. Resolves when it goes
   * on.
   */
  async freezeItself(duration) {
    const child = this.#child;
    const thawed = new AbortController();
    const hear = ({ event }) => event === 'thawed' && thawed.abort();
    child.on('message', hear);
    this.state = 'frozen';
    child.send({ order: 'freeze' });
    await sleep(duration);
    // A process that has not stopped yet would ignore a single SIGCONT.
    while (!thawed.signal.aborted && !hasEnded(child)) {
      child.kill('SIGCONT');
      await sleep(20);
    }
    child.off('message', hear);
    if (this.state === 'frozen' && child === this.#child) this.state = 'running';
  }

  /** Whether the worker can still take a lock; `undefined` if it does not answer in time. */
  async probe(patience) {
    return this.#ask('probe', 'probed', patience);
  }

  /**
   * Lets the worker leave connections of its pool in transactions. Resolves to their number,
   * or to 0 without an answer.
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

  /** Sends SIGTERM. Resolves to whether the worker ended by itself. */
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

  /** Ends the process whatever it does. */
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
    child.on('error', () => {}); // a message to a process that was just killed
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
