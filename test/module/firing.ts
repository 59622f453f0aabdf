import { setImmediate as othersRun } from 'node:timers/promises';
import type { INestApplicationContext } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import type { CronJob } from 'cron';

/**
 * What `CronJob` keeps to itself, and changes when its timer fires: `running` before cron 4.
 */
type Inside = { lastExecution: Date; running: boolean; _isActive: boolean; _timeout: NodeJS.Timeout };

/**
 * Lets a cron job fire for a tick of another time, in the steps that the job takes when its
 * timer fires: it notes the date, arms the next timer, and calls. Ends when the lock was
 * refused, or the run has ended if it awaits nothing else.
 *
 * @param period until the next tick
 */
export async function fire(job: CronJob, tick: number, period = 600_000): Promise<void> {
  const armFor = (time: number): void => {
    Object.assign(job.cronTime, { sendAt: () => ({ toMillis: () => time }) });
    job.start();
  };
  void job.stop();
  armFor(tick);
  const inside = job as unknown as Inside;
  clearTimeout(inside['_timeout']); // it has fired
  Object.assign(inside, { lastExecution: new Date(tick), running: false, _isActive: false });
  armFor(tick + period);
  await job.fireOnTick();
  await othersRun();
}

export function jobOf(app: INestApplicationContext, name: string): CronJob {
  return app.get(SchedulerRegistry, { strict: false }).getCronJob(name);
}
