import { conform } from './conforming.js';
import { orms } from './clients.js';

for (const kind of orms) conform(kind);
