import { conform } from './conforming.js';

conform('the driver');
