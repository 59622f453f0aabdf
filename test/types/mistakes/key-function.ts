import { Locked } from '../../../lib/index.js';

export class Orders {
  @Locked({ key: (id: string) => `order:${id}` })
  async ship(_id: number): Promise<void> {}
}
