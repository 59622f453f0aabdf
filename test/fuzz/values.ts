import * as fc from 'fast-check';

/** Any value that a caller without a type checker can pass. */
export const anyValue: fc.Arbitrary<unknown> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withNullPrototype: true,
      withObjectString: true,
      withSet: true,
      withSparseArray: true,
      withTypedArray: true,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(null, true, false, 0, -0, -1, NaN, Infinity, -Infinity, '', ' '),
  },
  { weight: 1, arbitrary: fc.double() },
  {
    weight: 1,
    arbitrary: fc.constantFrom<unknown>(Symbol('value'), () => 'value', class Value {}, new Proxy({}, {})),
  },
);

/** Texts of any UTF-16 units, even with half characters (lone surrogates) and NUL. */
export const anyText = fc
  .array(fc.oneof(fc.nat(0xffff), fc.constantFrom(0, 0x20, 0x61, 0xd83d, 0xdd12)), { maxLength: 40 })
  .map((units) => String.fromCharCode(...units));
