"""Pure data and arithmetic: points, legs, flows, histograms, frames.  Standard library only."""
