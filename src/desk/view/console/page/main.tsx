import { render } from 'preact';
import './style.css';

render(<h1>noslate-fc</h1>, document.body);
