import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { LockService } from 'nestjs-locked';

/** Tells `npm run demo` what happens here, if that is who started this process. */
@Injectable()
export class DemoLink implements OnApplicationBootstrap {
  constructor(private readonly locks: LockService) {}

  onApplicationBootstrap(): void {
    if (!process.connected) return;
    this.locks.events.on('busy', ({ job }) => {
      if (job === 'ReportJob.publish') this.tell({ event: 'skipped' });
    });
    process.once('disconnect', () => process.kill(process.pid, 'SIGTERM')); // the demo is gone
    this.tell({ event: 'ready' });
  }

  /**
   * Makes the time between check and write longer, in which no check helps, so that the demo
   * can send SIGKILL or SIGSTOP then. No SQLite call runs at that time: a process that is
   * frozen inside of such a call blocks all others on the file.
   */
  async betweenCheckAndWrite(token: number): Promise<void> {
    if (!process.connected) return;
    this.tell({ event: 'between', token, at: Date.now() });
    await sleep(350);
  }

  /** The empty job ran. */
  beat(): void {
    this.tell({ event: 'beat', at: Date.now() });
  }

  private tell(message: object): void {
    if (process.connected) process.send?.(message);
  }
}
