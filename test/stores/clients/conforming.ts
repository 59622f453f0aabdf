import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { sqlExecutorConformance } from '../../../lib/testing/index.js';
import { sqlTargets, type Target } from '../../servers/targets.js';
import type { ClientKind, TestClient } from './client-kind.js';
import { typeorm } from './typeorm.js';

/** Defines the conformance cases for the executor of a client, on each of its databases. */
export function conform(kind: ClientKind): void {
  for (const { name, open } of sqlTargets().filter((target) => kind.stores.includes(target.name)))
    describe(`the executor of ${kind.name} on ${name}`, () => {
      let target: Target;
      let client: TestClient;
      /**
       * A second client in the same process, whose transactions the executor has to refuse.
       */
      let foreign: TestClient;
      /** A client that stands for another process. */
      let other: TestClient;
      beforeAll(async () => {
        target = await open();
        client = await kind.open(target);
        foreign = await kind.open(target);
        other = await typeorm.open(target);
      });
      afterAll(async () => {
        for (const one of [client, foreign, other]) await one?.close();
        await target.dispose();
      });

      const createTrial = () => ({
        ...client,
        executor: client.executor(),
        other: other.executor(),
        foreign: <T>(work: (transaction: unknown) => Promise<T>) => foreign.transaction(work),
        secrets: secretsOf(target),
      });
      const cases = sqlExecutorConformance(createTrial, { without: kind.without?.(name) });
      for (const { name: rule, run } of cases) it(rule, run);
    });
}

/** Returns the password of the server. A SQLite file has no password. */
function secretsOf({ options }: Target): string[] {
  const { password } = options as { password?: string };
  return password ? [password] : [];
}
