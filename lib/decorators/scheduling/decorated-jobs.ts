import { hasMethods } from '../../options/has-methods.js';

const SCHEDULER_NAME = 'SCHEDULER_NAME';
const SCHEDULE_CRON_OPTIONS = 'SCHEDULE_CRON_OPTIONS';
const SCHEDULE_INTERVAL_OPTIONS = 'SCHEDULE_INTERVAL_OPTIONS';
const SCHEDULE_TIMEOUT_OPTIONS = 'SCHEDULE_TIMEOUT_OPTIONS';

/** The entry of one decorated method: `ref` is the cron job or the timer. */
interface Made {
  ref?: unknown;
  options?: unknown;
  timeout?: number;
}

/**
 * The properties of the `SchedulerOrchestrator` of `@nestjs/schedule`, 4 to 12, that this library
 * reads: the jobs and timers of decorated methods, by name.
 */
export interface SchedulerOrchestrator {
  readonly cronJobs?: Record<string, Made>;
  readonly intervals?: Record<string, Made>;
  readonly timeouts?: Record<string, Made>;
}

/** Whether a provider is the orchestrator of `@nestjs/schedule`. */
export function isSchedulerOrchestrator(provider: unknown): provider is SchedulerOrchestrator {
  return hasMethods(provider, 'addCron', 'addInterval', 'addTimeout');
}

/**
 * Whether the method has a schedule, and the job or the timer belongs to another method. A call
 * that such a job makes is a call by hand.
 *
 * @param source the cron job or the timer that calls
 */
export function isOfAnotherMethod(
  orchestrators: readonly SchedulerOrchestrator[],
  source: object,
  method: Function,
): boolean {
  const [cron, interval, timeout] = [
    SCHEDULE_CRON_OPTIONS,
    SCHEDULE_INTERVAL_OPTIONS,
    SCHEDULE_TIMEOUT_OPTIONS,
  ].map((key): unknown => Reflect.getMetadata(key, method));
  if (!cron && !interval && !timeout) return false;
  const name: unknown = Reflect.getMetadata(SCHEDULER_NAME, method);
  const fits = (made: string, { timeout: time }: Made, own: unknown): boolean =>
    (name === undefined || name === made) && time === (own as { timeout?: number } | undefined)?.timeout;
  for (const { cronJobs, intervals, timeouts } of orchestrators) {
    const job = find(cronJobs, source);
    if (job) return job[1].options !== cron;
    const every = find(intervals, source);
    if (every) return !fits(...every, interval);
    const once = find(timeouts, source);
    if (once) return !fits(...once, timeout);
  }
  return false; // the application made it
}

function find(made: Record<string, Made> | undefined, source: object): [string, Made] | undefined {
  return Object.entries(made ?? {}).find(([, { ref }]) => ref === source);
}
