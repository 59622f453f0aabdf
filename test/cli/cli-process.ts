import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

const PROGRAM = 'dist/esm/cli/main.js'; // `npm run build` makes this file.

export interface CliResult {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** Starts the command line in processes of its own. killAll() ends all of these processes. */
export class CliProcesses {
  private readonly all: CliProcess[] = [];

  constructor(private readonly env: () => Record<string, string> = () => ({})) {}

  start(args: readonly string[], env: Record<string, string> = {}): CliProcess {
    return this.execute(process.execPath, [PROGRAM, ...args], env);
  }

  run(args: readonly string[], env: Record<string, string> = {}): Promise<CliResult> {
    const cli = this.start(args, env);
    cli.endInput();
    return cli.ended;
  }

  /** Runs another program with the environment variables that the command line would get. */
  execute(file: string, args: readonly string[], env: Record<string, string> = {}, cwd = '.'): CliProcess {
    const child = spawn(file, args, {
      cwd,
      env: { ...process.env, LOCKS_URL: '', DEBUG: '', ...this.env(), ...env },
    });
    const cli = new CliProcess(child);
    this.all.push(cli);
    return cli;
  }

  /**
   * Runs `hold` with a command that prints `held KEY TOKEN`, and that exits with code 0 when
   * its input ends.
   */
  async hold(key: string, ...options: string[]): Promise<CliProcess> {
    const script = 'echo "held $LOCK_KEY $LOCK_FENCING_TOKEN"; cat >/dev/null';
    const cli = this.start(['hold', key, ...options, '--', 'sh', '-c', script]);
    await cli.says(/^held/m);
    return cli;
  }

  async killAll(): Promise<void> {
    await Promise.all(this.all.splice(0).map((cli) => cli.kill('SIGKILL')));
  }
}

export class CliProcess {
  readonly ended: Promise<CliResult>;
  private stdout = '';
  private stderr = '';

  constructor(private readonly child: ChildProcess) {
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    // Writing to a process that has ended emits an error, which no test needs.
    child.stdin?.on('error', () => undefined);
    this.ended = once(child, 'close').then(([code, signal]) => ({
      code,
      signal,
      stdout: this.stdout,
      stderr: this.stderr,
    }));
  }

  /** Resolves as soon as stdout or stderr matches the pattern. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    const over = this.ended.then(({ code, stdout, stderr }) => {
      const match = pattern.exec(stdout) ?? pattern.exec(stderr);
      if (match) return match;
      throw new Error(`It ended (${code}) before it said ${pattern}: ${stdout}${stderr}`);
    });
    for (;;) {
      const match = pattern.exec(this.stdout) ?? pattern.exec(this.stderr);
      if (match) return match;
      const more = [this.child.stdout, this.child.stderr].map((stream) => stream && once(stream, 'data'));
      const ended = await Promise.race([...more.map((data) => data?.then(() => undefined)), over]);
      if (ended) return ended;
    }
  }

  write(text: string): void {
    this.child.stdin?.write(text);
  }

  endInput(): void {
    this.child.stdin?.end();
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    this.signal(signal);
    this.endInput(); // Programs that a killed process leaves behind end when their input ends.
    await this.ended;
  }
}
