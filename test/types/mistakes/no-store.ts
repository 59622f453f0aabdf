import { LockModule } from '../../../lib/index.js';

LockModule.forRoot({ ttl: '30s' });
