"""All that is drawn: pictures of masks and maps, live curves, and the explorers with their sliders."""
