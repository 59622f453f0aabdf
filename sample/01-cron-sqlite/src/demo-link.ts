import { setTimeout as sleep } from 'node:timers/promises';
import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { LockService } from 'nestjs-locked';

/** Reports events of this instance to `npm run demo`, if the demo has started this process. */
@Injectable()
export class DemoLink implements OnApplicationBootstrap {
  constructor(private readonly locks: LockService) {}

  onApplicationBootstrap(): void {
    if (!process.connected) return;
    this.locks.events.on('busy', ({ job }) => {
      if (job === 'ReportJob.publish') this.tell({ event: 'skipped' });
    });
    // The connection closes when the demo has ended.
    process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
    this.tell({ event: 'ready' });
  }

  /**
   * Makes the time between check and write longer, during which no check helps, so that the
   * demo can send SIGKILL or SIGSTOP in it. No SQLite call runs at that time: a process that
   * is frozen inside of such a call would block all others.
   */
  async betweenCheckAndWrite(token: number): Promise<void> {
    if (!process.connected) return;
    this.tell({ event: 'between', token, at: Date.now() });
    await sleep(350);
  }

  /** Reports that the empty job has run. */
  beat(): void {
    this.tell({ event: 'beat', at: Date.now() });
  }

  private tell(message: object): void {
    if (process.connected) process.send?.(message);
  }
}
