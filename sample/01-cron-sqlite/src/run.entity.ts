import { Column, Entity, PrimaryColumn } from 'typeorm';

/**
 * One run of the job. The runs show afterwards whether two of them overlapped. Times are
 * milliseconds, by the database's clock.
 */
@Entity()
export class Run {
  /** The fencing token of the lock under which it ran. */
  @PrimaryColumn('integer')
  token!: number;

  @Column('text')
  instance!: string;

  @Column('integer')
  started!: number;

  /** `null` for a run whose process died. */
  @Column('integer', { nullable: true })
  ended!: number | null;

  /** Whether the database accepted its fencing token. */
  @Column('boolean', { default: false })
  accepted!: boolean;

  /** Whether the run learned that its lock was lost. */
  @Column('boolean', { default: false })
  lost!: boolean;
}
