"""What the product says, against what is truly there: people's part (`annotation`) and measures (`audits`)."""
