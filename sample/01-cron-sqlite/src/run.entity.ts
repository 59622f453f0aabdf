import { Column, Entity, PrimaryColumn } from 'typeorm';

/**
 * One run of the job. Afterwards, the rows show whether two runs overlapped. Times are epoch
 * milliseconds by the database's clock.
 */
@Entity()
export class Run {
  /** The fencing token of the run's lock. */
  @PrimaryColumn('integer')
  token!: number;

  @Column('text')
  instance!: string;

  @Column('integer')
  started!: number;

  /** The end of the run; `null` if its process died. */
  @Column('integer', { nullable: true })
  ended!: number | null;

  /** Whether the database accepted the fencing token of the run. */
  @Column('boolean', { default: false })
  accepted!: boolean;

  /** Whether the run learned that its lock was lost. */
  @Column('boolean', { default: false })
  lost!: boolean;
}
