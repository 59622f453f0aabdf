const withoutTypes: string = 'better-sqlite3';
export const { default: Database }: any = await import(withoutTypes);

/**
 * Returns a class like that of better-sqlite3. It records all statements, and calls `opened`
 * with each new connection.
 */
export function recordingDriver(statements: string[], opened: (connection: any) => unknown): any {
  return class extends Database {
    constructor(...args: unknown[]) {
      super(...args);
      opened(this);
    }

    prepare(sql: string): any {
      const statement = super.prepare(sql);
      for (const method of ['all', 'run']) {
        const original = statement[method].bind(statement);
        statement[method] = (...values: unknown[]) => {
          statements.push(sql);
          return original(...values);
        };
      }
      return statement;
    }
  };
}
