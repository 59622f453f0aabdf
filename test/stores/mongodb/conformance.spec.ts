import { conform } from './conforming.js';
import { drivers } from './fixture.js';

conform({ ...drivers[0], weak: false });
