/** Fills an empty conversation with a description of the model, suggested questions, and a button to get models. */

import * as React from 'react';
import { ContextSource } from '../model/context';
import { BUILT_IN, BUILT_IN_VISION } from '../model/models';
import { GetModelsContext } from './GetModels';
import { Icon } from './icons';
import { useContextReader } from './Mentions';
import { CIRCLE, drawSample, SampleImage, SHAPES, SQUARE } from './sampleImages';
import { SharedNotebook, Translator, useObservable, useServices } from './services';

export function Welcome(): React.JSX.Element {
  const { actions, chat, trans } = useServices();
  const { chosenName, problem, models } = useObservable(chat.models.state);
  const openGetModels = React.useContext(GetModelsContext);
  const { description, questions } = introduction(chosenName, trans);
  return (
    <div className="pico-empty">
      <div className="pico-empty-mark">
        <Icon name="chat" size={28} />
      </div>
      <h2>{trans.__('Chat with a local model')}</h2>
      <p className="pico-muted">{chosenName ? description : problem}</p>
      <div className="pico-suggestions">
        {questions.map(question => (
          <Suggestion key={question.text} question={question} isDisabled={!models.length} />
        ))}
      </div>
      {actions.sharedNotebook && <NotebookSuggestions notebook={actions.sharedNotebook} isDisabled={!models.length} />}
      <p>
        <button type="button" className="pico-button" onClick={openGetModels}>
          <Icon name="download" size={14} /> {trans.__('Get a model')}
        </button>
      </p>
      <p className="pico-muted pico-keys">
        <kbd>Enter</kbd> {trans.__('send')} <kbd>Shift</kbd>+<kbd>Enter</kbd> {trans.__('new line')} <kbd>Esc</kbd> {trans.__('stop')}
        {actions.contexts && (
          <>
            {' '}
            <kbd>@</kbd> {trans.__('add cells, errors, files')}
          </>
        )}
      </p>
    </div>
  );
}

interface SuggestedQuestion {
  readonly text: string;
  readonly image?: SampleImage;
}

/** A button that sends a question, with its image. */
function Suggestion({ question, isDisabled }: { question: SuggestedQuestion; isDisabled: boolean }): React.JSX.Element {
  const { chat } = useServices();
  const { text, image } = question;
  const data = React.useMemo(() => image && drawSample(image), [image]);
  const ask = (): void => {
    if (image && data) {
      chat.attach([{ kind: 'image', name: image.name, data }]);
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

/** Questions about the open notebook. */
function NotebookSuggestions({ notebook, isDisabled }: { notebook: SharedNotebook; isDisabled: boolean }): React.JSX.Element | null {
  const { actions, chat, trans } = useServices();
  const { attach, problem } = useContextReader();
  const name = useObservable(notebook.name);
  const ask = (id: ContextSource['id'], question: string): void => {
    const source = actions.contexts?.find(candidate => candidate.id === id);
    if (source) {
      void attach(source).then(async isAttached => {
        if (isAttached) {
          await chat.send(question);
        }
      });
    }
  };
  if (!name) {
    return null;
  }
  return (
    <section className="pico-suggestions" aria-label={trans.__('Questions about %1', name)}>
      <p className="pico-muted">{name}</p>
      <button type="button" disabled={isDisabled} onClick={() => ask('notebook', trans.__('What does this notebook do?'))}>
        {trans.__('What does this notebook do?')}
      </button>
      <button type="button" disabled={isDisabled} onClick={() => ask('cell', trans.__('Explain in a few sentences what this cell does.'))}>
        {trans.__('Explain the selected cell')}
      </button>
      <button type="button" disabled={isDisabled} onClick={() => ask('error', trans.__('Explain this error, and how to correct it.'))}>
        {trans.__('Explain the last error')}
      </button>
      {problem && <p className="pico-hint">{problem}</p>}
    </section>
  );
}

/** A description of the model, and questions for it. */
function introduction(name: string, trans: Translator): { description: string; questions: readonly SuggestedQuestion[] } {
  switch (name) {
    case BUILT_IN:
      return {
        description: trans.__(
          '%1 comes with pico_jupyter. It is a toy model with 1.4 million parameters. It adds small numbers, counts, spells, and answers questions about this package. It has no knowledge of the world.',
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
        description: trans.__(
          '%1 comes with pico_jupyter. It is a toy model with 2 million parameters. It names and counts plain shapes in images and describes how they move in videos. It has no other knowledge. Try it with an image below, or paste your own.',
          name
        ),
        questions: [
          { text: trans.__('What color is the shape?'), image: CIRCLE },
          { text: trans.__('What is in the picture?'), image: SQUARE },
          { text: trans.__('How many shapes are there?'), image: SHAPES }
        ]
      };
    default:
      return {
        description: trans.__('%1 runs on the machine of your Jupyter server. No data leaves that machine.', name),
        questions: [
          { text: trans.__('What can you do?') },
          { text: trans.__('Write a Python function that reverses the words of a line.') },
          { text: trans.__('Explain the central limit theorem.') }
        ]
      };
  }
}
