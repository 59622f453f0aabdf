import { conform } from './conforming.js';
import { drivers } from './clients.js';

for (const kind of drivers) conform(kind);
