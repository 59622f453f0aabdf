import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { DataSourceOptions } from 'typeorm';

interface Message {
  id?: number;
  event?: string;
  key?: string;
  result?: unknown;
  error?: string;
}

/** The child processes of one test file. killAll() ends all of them. */
export class Instances {
  private readonly all: Instance[] = [];

  async start(
    options: DataSourceOptions,
    label: string,
    locks: 'leases' | 'session' = 'leases',
  ): Promise<Instance> {
    const child = fork('test/processes/instance.mjs', [JSON.stringify(options), label, locks], {
      execArgv: [],
    });
    const instance = new Instance(child);
    this.all.push(instance);
    await instance.event('ready');
    return instance;
  }

  async killAll(): Promise<void> {
    await Promise.all(this.all.splice(0).map((instance) => instance.kill('SIGKILL')));
  }
}

/** An application in a process of its own, which carries out requests of the test. */
export class Instance {
  private requests = 0;
  private readonly seen: Message[] = [];
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;

  constructor(private readonly child: ChildProcess) {
    child.on('message', (message: Message) => this.seen.push(message));
    this.ended = once(child, 'exit').then(([code, signal]) => ({ code, signal }));
  }

  /**
   * Sends a request to the instance. Resolves to the answer, or rejects with the error of the
   * instance.
   */
  async ask<T = unknown>(action: string, request: object = {}): Promise<T> {
    const id = ++this.requests;
    this.child.send({ id, action, ...request });
    const { result, error } = await this.message((message) => message.id === id);
    if (error) throw new Error(error);
    return result as T;
  }

  async event(name: string, key?: string): Promise<void> {
    await this.message((message) => message.event === name && message.key === key);
  }

  /** Lets a frozen instance go on with SIGCONT. */
  wake(): void {
    this.child.kill('SIGCONT');
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    await this.ended;
  }

  private async message(wanted: (message: Message) => boolean): Promise<Message> {
    for (;;) {
      const found = this.seen.find(wanted);
      if (found) return found;
      const ended = this.ended.then(({ code, signal }) => {
        throw new Error(`the instance ended (${code ?? signal}) before it answered`);
      });
      await Promise.race([once(this.child, 'message'), ended]);
    }
  }
}
