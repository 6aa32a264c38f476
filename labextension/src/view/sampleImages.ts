/** Draws sample images of plain shapes for models that accept images. */

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
  /** Half of the width, in pixels. */
  readonly radius: number;
}

export const CIRCLE: SampleImage = {
  name: 'circle.png',
  background: 'white',
  shapes: [{ color: 'blue', kind: 'circle', x: 80, y: 80, radius: 40 }]
};
export const SQUARE: SampleImage = {
  name: 'square.png',
  background: 'yellow',
  shapes: [{ color: 'red', kind: 'square', x: 80, y: 80, radius: 36 }]
};
export const SHAPES: SampleImage = {
  name: 'shapes.png',
  background: 'white',
  shapes: [
    { color: 'green', kind: 'circle', x: 42, y: 46, radius: 24 },
    { color: 'red', kind: 'square', x: 116, y: 44, radius: 22 },
    { color: 'blue', kind: 'circle', x: 80, y: 116, radius: 24 }
  ]
};

/** The image as a data URL. */
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

function fill(context: CanvasRenderingContext2D, { color, kind, x, y, radius }: Shape): void {
  context.fillStyle = color;
  context.beginPath();
  if (kind === 'circle') {
    context.arc(x, y, radius, 0, 2 * Math.PI);
  } else {
    context.rect(x - radius, y - radius, 2 * radius, 2 * radius);
  }
  context.fill();
}
