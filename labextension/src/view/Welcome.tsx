/** The first thing that people see: what hasPicoEndpoints here, what to ask it, how to get more. */

import * as React from 'react';
import { BUILT_IN, BUILT_IN_VISION } from '../model/models';
import { CopyButton } from './controls';
import { Icon } from './icons';
import { CIRCLE, drawSample, SampleImage, SHAPES, SQUARE } from './sampleImages';
import { Translator, useObservable, useServices } from './services';

const DOWNLOAD = 'hf download mlx-community/Qwen3-4B-4bit';

export function Welcome(): React.JSX.Element {
  const { chat, trans } = useServices();
  const { chosen, problem, models } = useObservable(chat.models.state);
  const { words, questions } = introduction(chosen, trans);
  return (
    <div className="pico-empty">
      <div className="pico-empty-mark">
        <Icon name="chat" size={28} />
      </div>
      <h2>{trans.__('Chat with a local model')}</h2>
      <p className="pico-muted">{chosen ? words : problem}</p>
      <div className="pico-suggestions">
        {questions.map(question => (
          <Suggestion key={question.text} question={question} isDisabled={!models.length} />
        ))}
      </div>
      <details className="pico-more-models">
        <summary>{trans.__('Add a real model')}</summary>
        <p>{trans.__('Models in the Hugging Face cache are found by themselves. In a terminal:')}</p>
        <div className="pico-command">
          <code>{DOWNLOAD}</code>
          <CopyButton label={trans.__('Copy command')} text={DOWNLOAD} size={14} />
        </div>
        <p>{trans.__('Or name a folder with MLX models in PICO_JUPYTER_MODEL_PATH.')}</p>
      </details>
      <p className="pico-muted pico-keys">
        <kbd>Enter</kbd> {trans.__('send')} <kbd>Shift</kbd>+<kbd>Enter</kbd> {trans.__('new line')} <kbd>Esc</kbd> {trans.__('stop')}
      </p>
    </div>
  );
}

interface Prompt {
  readonly text: string;
  readonly picture?: SampleImage;
}

/** A question that is asked when it is clicked, with its picture. */
function Suggestion({ question, isDisabled }: { question: Prompt; isDisabled: boolean }): React.JSX.Element {
  const { chat } = useServices();
  const { text, picture } = question;
  const data = React.useMemo(() => picture && drawSample(picture), [picture]);
  const ask = (): void => {
    if (picture && data) {
      chat.attach([{ kind: 'image', name: picture.name, data }]);
    }
    void chat.send(text);
  };
  return (
    <button type="button" disabled={isDisabled} onClick={ask}>
      {data && <img src={data} alt="" width={32} height={32} />}
      {text}
    </button>
  );
}

/** What a model is, honestly, and what to ask it. */
function introduction(name: string, trans: Translator): { words: string; questions: readonly Prompt[] } {
  switch (name) {
    case BUILT_IN:
      return {
        words: trans.__(
          '%1 comes with pico_jupyter. It is an honest toy of 1.4 million parameters: it does small sums, counts, spells, and knows this package. It knows nothing about the world.',
          name
        ),
        questions: [
          { text: trans.__('What is 348 + 277?') },
          { text: trans.__('What can you do?') },
          { text: trans.__('How do I add a real model?') }
        ]
      };
    case BUILT_IN_VISION:
      return {
        words: trans.__(
          '%1 comes with pico_jupyter. It is an honest toy of 2 million parameters that sees plain shapes: it names and counts them, and tells how they move in a clip. It knows nothing else. Try it with a picture from here, or paste one of your own.',
          name
        ),
        questions: [
          { text: trans.__('What color is the shape?'), picture: CIRCLE },
          { text: trans.__('What is in the picture?'), picture: SQUARE },
          { text: trans.__('How many shapes are there?'), picture: SHAPES }
        ]
      };
    default:
      return {
        words: trans.__('%1 answers on this machine. Nothing leaves it.', name),
        questions: [
          { text: trans.__('What can you do?') },
          { text: trans.__('Write a Python function that reverses the words of a line.') },
          { text: trans.__('Explain the central limit theorem.') }
        ]
      };
  }
}
