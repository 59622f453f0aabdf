/**
 * Whether the class of a provider has these methods. The provider itself is not read, since it
 * may be a proxy, such as those of nestjs-cls, which throws outside of a request.
 */
export function hasMethods(provider: unknown, ...names: string[]): boolean {
  if (typeof provider !== 'object' || provider === null) return false;
  const methods: unknown = Object.getPrototypeOf(provider);
  return typeof methods === 'object' && methods !== null && names.every((name) => name in methods);
}
