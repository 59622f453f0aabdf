// Measures a method under @Locked() in a separate process, since code that other measures have
// run would change how the method is compiled.
import { Locked, LockModule } from '../../dist/esm/index.js';
import { serve } from '../child-process.mjs';
import { shuffled } from '../interleave.mjs';
import { createApplication } from '../locks.mjs';
import { median } from '../statistics.mjs';

class Jobs {
  runs = 0;

  async plain() {
    this.runs++;
  }

  async locked() {
    this.runs++;
  }
}
// This does what compiled TypeScript does with the decorator.
const method = Object.getOwnPropertyDescriptor(Jobs.prototype, 'locked');
Object.defineProperty(
  Jobs.prototype,
  'locked',
  Locked({ key: 'job' })(Jobs.prototype, 'locked', method) ?? method,
);

const noStore = {
  acquire: async () => ({ acquired: true, fencingToken: 1 }),
  renew: async () => true,
  release: async () => true,
};

serve(async ({ enabled }) => {
  const app = await createApplication([LockModule.forRoot({ store: noStore, enabled })], [Jobs]);
  const jobs = app.get(Jobs);

  return {
    /**
     * Returns the nanoseconds of a call for each block. Each block measures both methods, in
     * random order.
     */
    async measure({ calls, warmUps, blocks }) {
      const loops = {
        async plain(count) {
          for (let i = 0; i < count; i++) await jobs.plain();
        },
        async locked(count) {
          for (let i = 0; i < count; i++) await jobs.locked();
        },
      };
      for (const loop of Object.values(loops)) await loop(warmUps);
      const before = jobs.runs;
      const times = { plain: [], locked: [] };
      for (let block = 0; block < blocks; block++)
        for (const name of shuffled(Object.keys(loops))) {
          const begin = process.hrtime.bigint();
          await loops[name](calls);
          times[name].push(Number(process.hrtime.bigint() - begin) / calls);
        }
      if (jobs.runs - before !== 2 * calls * blocks)
        throw new Error('the methods did not run as often as they were called');
      return {
        plain: median(times.plain),
        locked: median(times.locked),
        differences: times.locked.map((time, i) => time - times.plain[i]),
      };
    },
    close: () => app.close(),
  };
});
