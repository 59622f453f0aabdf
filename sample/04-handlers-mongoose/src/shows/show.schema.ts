import { Prop, Schema, SchemaFactory } from '@nestjs/mongoose';

@Schema({ versionKey: false })
export class Show {
  @Prop({ required: true })
  title!: string;

  /** The guest of each seat in the row; `null` for a free one. */
  @Prop({ type: [String] })
  seats!: (string | null)[];

  /** The fencing token of the lock under which the seats were last written. */
  @Prop({ default: 0, select: false })
  fence!: number;
}

export const ShowSchema = SchemaFactory.createForClass(Show);
