import { Prop, Schema, SchemaFactory } from '@nestjs/mongoose';

@Schema({ versionKey: false })
export class Show {
  @Prop({ required: true })
  title!: string;

  /** The guest on each seat of the row; `null` for a free seat. */
  @Prop({ type: [String] })
  seats!: (string | null)[];

  /** The fencing token of the lock that protected the last write of the seats. */
  @Prop({ default: 0, select: false })
  fence!: number;
}

export const ShowSchema = SchemaFactory.createForClass(Show);
