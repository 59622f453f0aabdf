import { Column, Entity, PrimaryColumn } from 'typeorm';

/** One run of the job: the log from which one can tell afterwards whether two of them overlapped. Times are milliseconds, by the database's clock. */
@Entity()
export class Run {
  /** The fencing token of the lock it ran under. */
  @PrimaryColumn('integer')
  token!: number;

  @Column('text')
  instance!: string;

  @Column('integer')
  started!: number;

  /** `null` for a run whose process died. */
  @Column('integer', { nullable: true })
  ended!: number | null;

  /** Whether the fence let its write through. */
  @Column('boolean', { default: false })
  accepted!: boolean;

  /** Whether it was told that its lock was lost. */
  @Column('boolean', { default: false })
  lost!: boolean;
}
