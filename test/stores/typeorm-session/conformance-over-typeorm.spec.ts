import { conform } from './conforming.js';

conform('TypeORM');
