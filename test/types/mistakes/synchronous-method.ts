import { Locked } from '../../../lib/index.js';

export class Reports {
  @Locked()
  title(): string {
    return 'Report';
  }
}
