import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/**
 * Runs a program of the bench in a separate process, which carries out the orders of this
 * process.
 */
export class ChildProcess {
  #child;
  #asked = new Map();
  #count = 0;

  /** Starts the program, and resolves once the program can carry out orders. */
  static async start(program, settings) {
    const child = new ChildProcess(program, settings);
    try {
      await child.ask('settle');
      return child;
    } catch (error) {
      await child.kill();
      throw error;
    }
  }

  constructor(program, settings) {
    this.#child = fork(fileURLToPath(program), [JSON.stringify(settings)], { execArgv: [] });
    this.#child.on('message', ({ id, result, error }) => {
      const { resolve, reject } = this.#asked.get(id);
      this.#asked.delete(id);
      if (error) reject(new Error(error));
      else resolve(result);
    });
    this.#child.once('exit', (code, signal) => {
      const error = new Error(`${program.pathname} ended with ${signal ?? `exit code ${code}`}`);
      for (const { reject } of this.#asked.values()) reject(error);
      this.#asked.clear();
    });
  }

  ask(order, argument) {
    const id = ++this.#count;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      this.#child.send({ id, order, argument }, (error) => error && reject(error));
    });
  }

  /** Kills the process at once, even in the middle of an order. */
  async kill() {
    if (this.#ended) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }

  async close() {
    if (this.#ended) return;
    try {
      await this.ask('close');
    } finally {
      await this.kill();
    }
  }

  get #ended() {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }
}

/**
 * Runs in the child process. `open(settings)` returns the orders that the child carries out,
 * among them `close`. If the parent ends for any reason, so does the child.
 */
export function serve(open) {
  process.once('disconnect', () => process.exit(1));
  const opened = open(JSON.parse(process.argv[2]));
  opened.catch(() => {}); // each order reports the error to its sender
  process.on('message', async ({ id, order, argument }) => {
    try {
      const orders = await opened;
      process.send({ id, result: order === 'settle' ? undefined : await orders[order](argument) });
    } catch (error) {
      process.send({ id, error: error.stack });
    }
  });
}
