import { LockModule, memoryStore } from '../../../lib/index.js';

declare const config: { get<T>(name: string): T | undefined };

LockModule.forRoot({ store: memoryStore(), ttl: config.get<string>('LOCK_TTL') });
