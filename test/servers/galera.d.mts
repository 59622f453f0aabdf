/** MariaDB nodes of one Galera cluster, each of which takes writes. Default 3. */
export function startGalera(size?: number): Promise<{
  readonly nodes: { readonly url: string }[];
  readonly version: string;
  stop(): Promise<void>;
}>;
