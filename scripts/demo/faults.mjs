import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

/** The ttl of the sample's lock, in milliseconds. */
const TTL = 2_500;
/**
 * An instance stays between check and write for 350 ms. If it has reported this more than 150
 * ms ago, a signal could arrive too late.
 */
const FRESH = 150;
/** How many milliseconds a fault may take until it has its effect. */
const PATIENCE = 12_000;

/**
 * Plays the faults of the demo, one after the other. Each step waits until the run log shows
 * the effect of the preceding step.
 *
 * @returns the runs that were killed and frozen
 */
export async function playFaults({ instances, hub, show, log, signal }) {
  await until('six runs', () => log().filter((run) => run.accepted).length >= 6);

  const killed = await nextHolder(instances);
  killed.instance.kill();
  show.tell(`kill -9 ${killed.instance.name}, which holds the lock`, 'fault');
  await takeOver(killed);
  await until('more runs', () => acceptedSince(killed).length >= 3);

  const survivors = instances.filter((instance) => instance !== killed.instance);
  const frozen = await nextHolder(survivors);
  frozen.instance.freeze();
  const frozenAt = Date.now();
  show.tell(`SIGSTOP ${frozen.instance.name}, which holds the lock and is about to write`, 'fault');
  await takeOver(frozen);
  await until('the end of the ttl', () => Date.now() - frozenAt > TTL);
  frozen.instance.thaw();
  show.tell(`SIGCONT ${frozen.instance.name}: it goes on to write, with its old token`, 'fault');
  await until('a refused write', () => rowOf(frozen).ended && !rowOf(frozen).accepted);
  show.tell(`the fence refused the write of ${frozen.instance.name}`, 'effect');
  await until('the report of the loss', () => rowOf(frozen).lost);
  show.tell(`${frozen.instance.name} learned that its lock is lost`, 'effect');
  await until('more runs', () => acceptedSince(frozen).length >= 4);

  const last = await nextHolder(survivors);
  show.tell(`SIGTERM to both, while ${last.instance.name} is at work`, 'fault');
  await Promise.all(survivors.map((instance) => instance.terminate(signal)));
  await until('the end of the last run', () => rowOf(last).accepted);
  show.tell(`${last.instance.name} finished its run first, and gave the lock back`, 'effect');
  return { killed, frozen };

  /**
   * Waits for an instance between check and write, since such an instance holds the lock, and
   * no SQLite call runs in it.
   */
  async function nextHolder(candidates) {
    for (;;) {
      const [message] = await once(hub, 'between', { signal });
      if (candidates.includes(message.instance) && Date.now() - message.at < FRESH) return message;
    }
  }

  async function takeOver(hit) {
    const heir = () => acceptedSince(hit).find((run) => run.instance !== hit.instance.name);
    await until(`a take-over from ${hit.instance.name}`, heir);
    show.tell(
      `${heir().instance} took the lock over when the lease of ${hit.instance.name} had run out`,
      'effect',
    );
  }

  function rowOf(hit) {
    return log().find((run) => run.token === hit.token);
  }

  function acceptedSince(hit) {
    return log().filter((run) => run.accepted && run.token > hit.token);
  }

  async function until(what, condition) {
    const deadline = Date.now() + PATIENCE;
    while (!condition()) {
      if (Date.now() > deadline) throw new Error(`Waited ${PATIENCE / 1000} s for ${what} in vain.`);
      await sleep(50, undefined, { signal });
    }
  }
}
