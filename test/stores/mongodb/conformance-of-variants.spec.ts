import { conform } from './conforming.js';
import { drivers } from './fixture.js';

const [newest, older] = drivers;

conform({ ...older, weak: false }, { name: 'weak locks', MongoClient: newest.MongoClient, weak: true });
