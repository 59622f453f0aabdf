import { Column, Entity, PrimaryColumn } from 'typeorm';

/** The report that the lock protects. */
@Entity()
export class Report {
  @PrimaryColumn('integer')
  id!: number;

  /** How many times the report has been published. */
  @Column('integer')
  edition!: number;

  /**
   * The fencing token of the last write. Tokens only grow, so an older token comes from a
   * holder that has lost the lock.
   */
  @Column('integer')
  fence!: number;
}
