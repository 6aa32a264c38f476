/** Pictures to try a model with that sees: plain shapes, drawn here. */

const SIDE = 160;

export interface SampleImage {
  readonly name: string;
  readonly background: string;
  readonly shapes: readonly Shape[];
}

interface Shape {
  readonly color: string;
  readonly kind: 'circle' | 'square';
  readonly x: number;
  readonly y: number;
  /** Half of its width, in pixels as all. */
  readonly reach: number;
}

export const CIRCLE: SampleImage = {
  name: 'circle.png',
  background: 'white',
  shapes: [{ color: 'blue', kind: 'circle', x: 80, y: 80, reach: 40 }]
};
export const SQUARE: SampleImage = {
  name: 'square.png',
  background: 'yellow',
  shapes: [{ color: 'red', kind: 'square', x: 80, y: 80, reach: 36 }]
};
export const SHAPES: SampleImage = {
  name: 'shapes.png',
  background: 'white',
  shapes: [
    { color: 'green', kind: 'circle', x: 42, y: 46, reach: 24 },
    { color: 'red', kind: 'square', x: 116, y: 44, reach: 22 },
    { color: 'blue', kind: 'circle', x: 80, y: 116, reach: 24 }
  ]
};

/** The picture as a data URL. */
export function drawSample({ background, shapes }: SampleImage): string {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = SIDE;
  const context = canvas.getContext('2d');
  if (context) {
    context.fillStyle = background;
    context.fillRect(0, 0, SIDE, SIDE);
    shapes.forEach(shape => fill(context, shape));
  }
  return canvas.toDataURL('image/png');
}

function fill(context: CanvasRenderingContext2D, { color, kind, x, y, reach }: Shape): void {
  context.fillStyle = color;
  context.beginPath();
  if (kind === 'circle') {
    context.arc(x, y, reach, 0, 2 * Math.PI);
  } else {
    context.rect(x - reach, y - reach, 2 * reach, 2 * reach);
  }
  context.fill();
}
