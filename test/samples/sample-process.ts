import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { readySample } from '../../scripts/sample-packages.mjs';

export function compileSample(sample: string): void {
  readySample(sample);
  execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', sample]);
}

/** An instance of a compiled sample, in a process of its own. */
export class SampleProcess {
  readonly exited: Promise<unknown>;
  private readonly child: ChildProcess;
  private readonly lines = new EventEmitter();

  constructor(sample: string, env: Record<string, string>) {
    this.child = spawn(process.execPath, [join(sample, 'dist/main.js')], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.exited = once(this.child, 'exit');
    createInterface(this.child.stdout!).on('line', (line) => this.lines.emit('line', line));
  }

  /**
   * Waits for a line of the instance's stdout that matches the pattern, and resolves to the
   * match.
   */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const listen = (line: string): void => {
        const match = pattern.exec(line);
        if (!match) return;
        this.lines.off('line', listen);
        resolve(match);
      };
      this.lines.on('line', listen);
      void this.exited.then(() => reject(new Error(`The sample ended before it said ${pattern}.`)));
    });
  }

  /** Sends the signal, and resolves when the process has ended. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.signal(signal);
    await this.exited;
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }
}
