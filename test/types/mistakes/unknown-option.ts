import { Locked, LockModule, memoryStore } from '../../../lib/index.js';

LockModule.forRoot({ store: memoryStore(), tll: '30s' });

export class Jobs {
  @Locked('report', { waitFor: '5s' })
  async report(): Promise<void> {}
}
