import { fork } from 'node:child_process';
import { once } from 'node:events';

const main = 'sample/01-cron-sqlite/dist/main.js';

/**
 * One process of the sample. It emits the events of the sample's DemoLink (`ready`, `skipped`,
 * `between`) on a hub that all instances share. It also emits `died` if the process ends
 * without a request of the demo.
 */
export class Instance {
  state = 'waiting';
  skips = 0;
  #process;
  #output = '';

  constructor(name, databaseFile, hub) {
    this.name = name;
    this.databaseFile = databaseFile;
    this.hub = hub;
  }

  /** Starts the process, and resolves when the job of the sample is scheduled. */
  async start(signal) {
    this.state = 'starting';
    this.#process = fork(main, {
      env: { ...process.env, INSTANCE: this.name, DATABASE_FILE: this.databaseFile, NO_COLOR: '1' },
      execArgv: [],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => (this.#output = (this.#output + text).slice(-4_000)));
    }
    this.#process.once('exit', (code, cause) => this.#ended(cause ?? `exit code ${code}`));
    this.#process.on('message', ({ event, ...details }) => {
      if (event === 'skipped') this.skips++;
      if (event === 'ready') this.state = 'running';
      this.hub.emit(event, { instance: this, ...details });
    });
    while (this.state === 'starting') await once(this.hub, 'ready', { signal });
  }

  kill() {
    this.state = 'killed';
    this.#process.kill('SIGKILL');
  }

  freeze() {
    this.state = 'frozen';
    this.#process.kill('SIGSTOP');
  }

  thaw() {
    this.state = 'running';
    this.#process.kill('SIGCONT');
  }

  /** Sends SIGTERM, and resolves when the process has ended. */
  async terminate(signal) {
    this.state = 'stopping';
    const ended = once(this.#process, 'exit', { signal });
    this.#process.kill('SIGTERM');
    await ended;
    this.state = 'stopped';
  }

  /** Kills the process if it still runs, even if it is frozen. */
  destroy() {
    if (this.#process?.exitCode === null && this.#process.signalCode === null) this.kill();
  }

  #ended(how) {
    if (this.state === 'killed' || this.state === 'stopping') return;
    this.state = 'died';
    this.hub.emit(
      'died',
      new Error(`${this.name} ended by itself (${how}). Its last words:\n${this.#output}`),
    );
  }
}
