/** What there is to say of a place in a file. An error keeps the file from being played, a warning does not. */
export interface Remark {
  readonly kind: 'error' | 'warning';
  readonly line: number;
  /** The path to the field; empty for the file as a whole. */
  readonly field: string;
  readonly text: string;
}

/** A place that a remark can be about. */
export type Place = Pick<Remark, 'line' | 'field'>;

/** Takes a remark. */
export type Remarks = (kind: Remark['kind'], place: Place, text: string) => void;

/** A remark as a line: `s.yaml:14: resources.app.props.timeout: expected …`. */
export const remarkText = (file: string, { line, field, text }: Remark): string =>
  `${file}:${line}: ${field === '' ? '' : `${field}: `}${text}`;
