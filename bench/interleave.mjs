import { setTimeout as sleep } from 'node:timers/promises';
import { comparisonOf, comparisonOfSeries, median, summaryOf } from './statistics.mjs';

/**
 * Compares operations: each round calls each operation once, in random order. So a slow moment
 * of the machine slows all of them down. Whole series one after another would differ by half.
 *
 * @param operations `{ name: async () => ... }`
 * @param reference the name of the operation that the others are compared with
 * @param pause milliseconds before each call
 * @param before work before each call, which is not measured
 * @returns `{ times: { name: { p50, p90, p99, ... } }, ratios: { name: { ratio, low, high,
 * inconclusive } } }`, with times in milliseconds
 */
export async function interleave(operations, { reference, warmUps, iterations, blocks, pause = 0, before }) {
  const names = Object.keys(operations);
  const once = async () => {
    const taken = {};
    for (const name of shuffled(names)) {
      if (pause > 0) await sleep(pause);
      await before?.();
      const begin = performance.now();
      await operations[name]();
      taken[name] = performance.now() - begin;
    }
    return taken;
  };
  for (let i = 0; i < warmUps; i++) await once();
  const rounds = [];
  for (let i = 0; i < iterations; i++) rounds.push(await once());

  const timesOf = (name, part = rounds) => part.map((taken) => taken[name]);
  const parts = Array.from({ length: blocks }, (_, i) =>
    rounds.slice(Math.floor((i * iterations) / blocks), Math.floor(((i + 1) * iterations) / blocks)),
  );
  const ratioIn = (name, part) => median(timesOf(name, part)) / median(timesOf(reference, part));
  return {
    times: mapped(names, (name) => summaryOf(timesOf(name))),
    ratios: mapped(others(names, reference), (name) =>
      comparisonOf(
        ratioIn(name, rounds),
        parts.map((part) => ratioIn(name, part)),
      ),
    ),
  };
}

/**
 * Compares the throughput of operations. In each block, every operation has a slice of time,
 * in random order, during which all `callers` repeat it.
 *
 * @param operations `{ name: async (caller) => ... }`, with callers numbered from 0
 * @param slice milliseconds
 * @returns `{ rates: { name: median operations per second }, ratios: { name: ... } }`
 */
export async function interleaveRates(
  operations,
  { reference, callers, slice, blocks, warmUpSlice = slice },
) {
  const names = Object.keys(operations);
  return interleaveSlices(
    mapped(names, (name) => (length) => rateOf(operations[name], callers, length)),
    { reference, slice, blocks, warmUpSlice },
  );
}

/**
 * Compares contestants that measure their own rate:
 * `{ name: async (milliseconds) => operations per second }`. The value may also be something
 * else than a rate.
 *
 * @returns `rates` and `ratios` like interleaveRates(), and as `series` the values of all
 * blocks
 */
export async function interleaveSlices(contestants, { reference, slice, blocks, warmUpSlice = slice }) {
  const names = Object.keys(contestants);
  for (const name of names) await contestants[name](warmUpSlice);
  const rates = mapped(names, () => []);
  for (let block = 0; block < blocks; block++)
    for (const name of shuffled(names)) rates[name].push(await contestants[name](slice));
  return {
    series: rates,
    rates: mapped(names, (name) => median(rates[name])),
    ratios: mapped(others(names, reference), (name) => comparisonOfSeries(rates[name], rates[reference])),
  };
}

/**
 * Returns how many operations per second the callers complete together. Each caller makes one
 * call after the other.
 */
export async function rateOf(operation, callers, milliseconds) {
  const begin = performance.now();
  const end = begin + milliseconds;
  let done = 0;
  const work = async (caller) => {
    while (performance.now() < end) {
      await operation(caller);
      done++;
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, caller) => work(caller)));
  return (done * 1000) / (performance.now() - begin);
}

/**
 * Repeats a measurement while one of its ratios is inconclusive, up to `attempts` times in
 * all. Returns the last result.
 */
export async function untilConclusive(attempts, measure) {
  for (let attempt = 1; ; attempt++) {
    const measured = await measure();
    const inconclusive = Object.values(measured.ratios).some((ratio) => ratio.inconclusive);
    if (attempt === attempts || !inconclusive) return measured;
  }
}

export function shuffled(values) {
  return values
    .map((value) => ({ value, rank: Math.random() }))
    .toSorted((a, b) => a.rank - b.rank)
    .map(({ value }) => value);
}

const others = (names, reference) => names.filter((name) => name !== reference);

const mapped = (names, valueOf) => Object.fromEntries(names.map((name) => [name, valueOf(name)]));
