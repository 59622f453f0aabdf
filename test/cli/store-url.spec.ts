import { describe, expect, it } from '@jest/globals';
import { parseStoreUrl } from '../../lib/cli/store-url.js';

describe('the URL of a database', () => {
  it.each([
    ['postgres://u:p@h:5433/d?sslmode=require', 'postgres'],
    ['postgresql://h/d', 'postgres'],
    ['postgres:///d?host=/var/run/postgresql', 'postgres'],
    ['POSTGRES://h/d', 'postgres'],
    ['mysql://u:p%40ss@h/d', 'mysql'],
    ['mariadb://[::1]:3307/d', 'mariadb'],
  ])('B79 %s is a URL of %s and goes to the driver unchanged', (url, type) => {
    expect(parseStoreUrl(url)).toEqual({ kind: 'sql', type, url });
  });

  it.each([
    ['sqlite:app.sqlite', 'app.sqlite'],
    ['sqlite:./data/app.sqlite', './data/app.sqlite'],
    ['sqlite:/srv/app.sqlite', '/srv/app.sqlite'],
    ['sqlite:///srv/app.sqlite', '/srv/app.sqlite'],
    ['sqlite:100%.sqlite', '100%.sqlite'],
    ['file:app.sqlite', 'app.sqlite'],
    ['file:///srv/my%20app.sqlite', '/srv/my app.sqlite'],
  ])('B79 %s names the file %s', (url, file) => {
    expect(parseStoreUrl(url)).toEqual({ kind: 'sqlite', file });
  });

  it.each([
    ['mongodb://h', 'mongodb://h/?serverSelectionTimeoutMS=10000'],
    ['mongodb://a:1,b:2/d', 'mongodb://a:1,b:2/d?serverSelectionTimeoutMS=10000'],
    ['mongodb://h/?replicaSet=rs0', 'mongodb://h/?replicaSet=rs0&serverSelectionTimeoutMS=10000'],
    ['mongodb+srv://u:p@h/d', 'mongodb+srv://u:p@h/d?serverSelectionTimeoutMS=10000'],
    ['mongodb://h/?serverselectiontimeoutms=5', 'mongodb://h/?serverselectiontimeoutms=5'],
  ])('B79 %s gets a time limit for finding the MongoDB server, unless the URL sets one', (url, patient) => {
    expect(parseStoreUrl(url)).toEqual({ kind: 'mongodb', url: patient });
  });

  it.each([
    ['', /no scheme/],
    ['app.sqlite', /no scheme/],
    ['redis://u:secret@h', /cannot be kept in redis/],
    ['constructor:secret', /cannot be kept in constructor/],
    ['postgres:secret', /postgres URL cannot be read/],
    ['postgres://u:sec/ret@h:x/d', /%40/],
    ['mysql://u:secret%@h/d', /percent-encoded/],
    ['sqlite:', /names no file/],
    ['sqlite://secret', /sqlite:path\/to\/file/],
    ['sqlite://', /names no file/],
  ])('B86 the URL %j is refused with an error that shows only its scheme', (url, message) => {
    const parse = () => parseStoreUrl(url);
    expect(parse).toThrow(message);
    expect(parse).not.toThrow(/sec/);
  });
});
