import { setImmediate as othersRun } from 'node:timers/promises';
import type { INestApplicationContext } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import type { CronJob } from 'cron';

/**
 * Private members of `CronJob` that change when its timer fires. `running` exists before cron
 * 4.
 */
type Inside = { lastExecution: Date; running: boolean; _isActive: boolean; _timeout: NodeJS.Timeout };

/**
 * Lets a cron job fire for a tick of another time, in the same steps as a real firing: it
 * notes the date, arms the next timer, and calls. Resolves when the lock was refused, or when
 * the run has ended if it awaits nothing else.
 *
 * @param period milliseconds until the next tick
 */
export async function fire(job: CronJob, tick: number, period = 600_000): Promise<void> {
  const armFor = (time: number): void => {
    Object.assign(job.cronTime, { sendAt: () => ({ toMillis: () => time }) });
    job.start();
  };
  void job.stop();
  armFor(tick);
  const inside = job as unknown as Inside;
  clearTimeout(inside['_timeout']); // The timer has fired.
  Object.assign(inside, { lastExecution: new Date(tick), running: false, _isActive: false });
  armFor(tick + period);
  await job.fireOnTick();
  await othersRun();
}

export function jobOf(app: INestApplicationContext, name: string): CronJob {
  return app.get(SchedulerRegistry, { strict: false }).getCronJob(name);
}
